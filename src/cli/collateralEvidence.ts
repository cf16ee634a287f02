import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { parseNrasRequest } from '../../attestation/evidence/nras/request.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import type { SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../../attestation/evidence/snp/unwrap.ts';
import { fetchAttestation, freshNonce, parseAttestation } from '../client/attestation.ts';
import { serviceAt, type Service } from '../client/http.ts';
import {
  dcapNeeds,
  deviceNeeds,
  deviceSetNeeds,
  documentNeeds,
  hclNeeds,
  joinNeeds,
  quoteNeeds,
  snpNeeds,
  type DocumentOptions,
  type EvidenceNeeds,
} from '../collateral/evidenceNeeds.ts';
import type { IntelTee, PckCa } from '../collateral/need.ts';
import { readCertificates } from './collateralCertificates.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { parseEitherKind, readDeviceFile } from '../../attestation/recognition/deviceFile.ts';
import { recognise, type ShownKind } from '../../attestation/recognition/recognise.ts';

/** What the evidence does not say, or where there is none. */
export interface EvidenceFlags {
  readonly product?: SnpProduct;
  readonly chain?: readonly string[];
  /** False by --no-ocsp. */
  readonly ocsp?: boolean;
  readonly fmspc?: string;
  readonly pckCa?: PckCa;
  readonly tee?: IntelTee;
}

/** What is wanted for a file or a live service, and for the Intel platform that the flags name. */
export async function needsOf(target: string | undefined, flags: EvidenceFlags): Promise<EvidenceNeeds> {
  const platform = platformNeeds(flags);
  if (target === undefined && platform === undefined) {
    const advice = 'Name a file with evidence, a service, or a platform with --fmspc and --pck-ca.';
    throw new CliError(EXIT.misuse, 'nothing was named for which to fetch', advice);
  }
  const evidence = target === undefined ? undefined : await evidenceNeeds(target, flags);
  return joinNeeds([evidence, platform].flatMap((part) => part ?? []));
}

function platformNeeds({ fmspc, pckCa, tee = 'tdx' }: EvidenceFlags): EvidenceNeeds | undefined {
  if (fmspc === undefined && pckCa === undefined) return undefined;
  if (fmspc === undefined || pckCa === undefined) {
    throw new CliError(EXIT.misuse, '--fmspc and --pck-ca go together: both stand in the PCK certificate');
  }
  try {
    return dcapNeeds({ tee, fmspc, ca: pckCa });
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, `--fmspc: ${error.message}`);
    throw error;
  }
}

async function evidenceNeeds(target: string, flags: EvidenceFlags): Promise<EvidenceNeeds> {
  const { chain: files, ...options } = flags;
  if (/^https?:\/\//.test(target)) {
    if (files)
      throw new CliError(EXIT.misuse, 'a live service brings its own certificates: leave --chain out');
    return ofDocument((await fetchAttestation(service(target), freshNonce())).document, options);
  }
  const { kind, name, bytes } = recognise(await readInput(target));
  const raw = RAW[kind];
  if (raw) return raw(bytes, { ...options, chain: files && (await readCertificates(files)) });
  if (files) throw new CliError(EXIT.misuse, `--chain goes with raw reports; ${target} is not one: ${name}`);
  const whole = WHOLE[kind];
  if (whole) return whole(bytes, options);
  if (kind === 'unknown') throw new CliError(EXIT.unreadable, `${target} is no file that is known here`);
  throw new CliError(EXIT.misuse, `${target}: no vendor speaks of this kind of file: ${name}`);
}

type ReadNeeds<Options> = (bytes: Uint8Array, options: Options) => EvidenceNeeds;

/** By kind of file that holds whole evidence. */
const WHOLE: Readonly<Partial<Record<ShownKind, ReadNeeds<DocumentOptions>>>> = {
  document: ofDocument,
  attestation: (bytes, options) => ofDocument(parseAttestation(bytes).document, options),
  'nras-request': (bytes, options) => deviceSetNeeds(parseNrasRequest(bytes).devices, nodeCrypto, options),
  'device-evidence': (bytes, options) => deviceSetNeeds(devicesIn(bytes), nodeCrypto, options),
  bundle: (bytes, options) => {
    const { cited, covering } = parseBundle(bytes);
    const documents = [cited, ...(covering ? [covering.document] : [])];
    return joinNeeds(documents.map((document) => ofDocument(document, options)));
  },
};

function ofDocument(document: Uint8Array, options: DocumentOptions): EvidenceNeeds {
  return documentNeeds(parseDocument(document), nodeCrypto, options);
}

/** What collectors write does not say the kinds of devices; a report that is neither refuses. */
function devicesIn(bytes: Uint8Array): readonly DeviceEvidence[] {
  return readDeviceFile(bytes).devices.map((read) => {
    const { report, certificates } = read();
    return { kind: parseEitherKind(report).kind, report, certificates };
  });
}

interface Carried extends DocumentOptions {
  /** Certificates that the caller has beside the report. */
  readonly chain: readonly Uint8Array[] | undefined;
}

const NOTHING: EvidenceNeeds = { needs: [], gaps: [] };

/** By kind of raw evidence. What Nitro and TPM evidence needs, it brings along or its authority is asked for nothing here. */
const RAW: Readonly<Partial<Record<ShownKind, ReadNeeds<Carried>>>> = {
  'snp-report': ofSnpReport,
  'snp-report-response': (bytes, carried) => ofSnpReport(unwrapReportResponse(bytes), carried),
  'snp-extended-report': (bytes, { chain = [], ...rest }) => {
    const { report, certificates } = unwrapExtendedReport(bytes);
    return ofSnpReport(report, { ...rest, chain: [...certificates, ...chain] });
  },
  'hcl-report': (bytes, { chain = [], product }) => hclNeeds(bytes, { certificates: chain, product }),
  'tdx-quote': (bytes, { chain }) => quoteNeeds(bytes, chain),
  'sgx-quote': (bytes, { chain }) => quoteNeeds(bytes, chain),
  'nitro-document': () => NOTHING,
  'tpm-quote': () => NOTHING,
  'device-report': ofDeviceReport,
};

function ofSnpReport(bytes: Uint8Array, { chain = [], product }: Carried): EvidenceNeeds {
  return snpNeeds(parseSnpReport(bytes), { certificates: chain, product });
}

function ofDeviceReport(bytes: Uint8Array, { chain, ocsp = true }: Carried): EvidenceNeeds {
  const report = parseEitherKind(bytes);
  if (!ocsp || chain) return deviceNeeds(report, ocsp ? chain : undefined);
  const { needs } = deviceNeeds(report);
  const gap =
    'the report does not hold its certificates, whose statuses are asked for: name them with --chain, or --no-ocsp';
  return { needs, gaps: [gap] };
}

function service(address: string): Service {
  try {
    return serviceAt(address, fetch, undefined);
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, error.message);
    throw error;
  }
}
