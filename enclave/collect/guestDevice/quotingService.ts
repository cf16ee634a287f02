import { readFile } from 'node:fs/promises';
import { systemCode } from '../systemError.ts';
import type { Deadline } from '../deviceGate.ts';
import { CollectError } from '../errors.ts';
import type { CLibrary } from '../../native/cLibrary.ts';
import type { StreamAddress } from '../../native/sockets.ts';
import { encodeQuoteRequest, PREFIX_BYTES, readMessageLength, readQuoteResponse } from './quotingMessage.ts';
import { HostSocket } from './socket.ts';

/** VMADDR_CID_HOST. */
const HOST = 2;
/** Port in the configuration that Intel ships, of the service (qgs.conf) and of the guest (tdx-attest.conf) alike. */
const PORT = 4050;
const MAX_PORT = 0xffff_fffe;

/** A quote of a TDREPORT. The service takes one request per connection. */
export function requestQuote(
  library: CLibrary,
  address: StreamAddress,
  tdReport: Uint8Array,
  deadline: Deadline,
): Promise<Uint8Array> {
  return HostSocket.use(library, address, deadline, async (socket) => {
    await socket.write(encodeQuoteRequest(tdReport));
    const length = readMessageLength(await socket.read(PREFIX_BYTES));
    return readQuoteResponse(await socket.read(length));
  });
}

/**
 * Where the quoting service is: the port of `/etc/tdx-attest.conf`, where that file names one as Intel's library
 * reads it (`port = 4050`), or the usual one; on the host.
 */
export async function findQuotingService(settings: string): Promise<StreamAddress> {
  const text = await readFile(settings, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return '';
    throw new CollectError('PERMISSION_DENIED', `cannot read ${settings}: ${systemCode(error) ?? ''}`, {
      cause: error,
    });
  });
  const [, port = String(PORT)] = /^\s*port\s*=\s*([0-9]{1,10})\s*$/m.exec(text) ?? [];
  const number = Number(port);
  if (number < 1 || number > MAX_PORT) {
    throw new CollectError('SERVICE_UNREACHABLE', `${settings} names port ${port}, which is none of vsock`);
  }
  return { cid: HOST, port: number };
}
