import { DeployError } from '../errors.ts';

/** A key broker of the operator's (Trustee), where the guest is to have one. The service does not need it. */
export interface KeyBroker {
  /** `https://…`. */
  readonly url: string;
  /** PEM; absent where a public authority issued the certificate of the broker. */
  readonly certificate?: string | undefined;
}

const PEM_LINE = /^(?:-----(?:BEGIN|END) CERTIFICATE-----|[A-Za-z0-9+/=]{1,76})$/;
const SOCKET = 'unix:///run/confidential-containers/cdh.sock';

/** Configuration of the attestation agent. */
export function attestationAgentConfig(broker: KeyBroker | undefined): string {
  // PCR 17 and «off» are the agent's own defaults; said here, no command line of the guest decides them.
  const log = '[eventlog_config]\ninit_pcr = 17\nenable_eventlog = false\n';
  if (!broker) return log;
  return `[token_configs.kbs]\nurl = ${quoted(broker.url)}\n${certificateOf('cert', broker)}\n${log}`;
}

/** Configuration of the confidential data hub, which pulls the image: no registry is blocked, mirrored or insecure. */
export function dataHubConfig(broker: KeyBroker | undefined): string {
  const kbc = broker
    ? `name = "cc_kbc"\nurl = ${quoted(broker.url)}\n${certificateOf('kbs_cert', broker)}`
    : 'name = "offline_fs_kbc"\nurl = ""\n';
  return `socket = "${SOCKET}"\ncredentials = []\n\n[kbc]\n${kbc}\n[image]\nmax_concurrent_layer_downloads_per_image = 3\n`;
}

function quoted(url: string): string {
  if (/^https?:\/\/[A-Za-z0-9.:/_-]+$/.test(url)) return `"${url}"`;
  throw new DeployError('DEPLOY_OPTIONS_INVALID', `${url} is no address of a key broker`);
}

function certificateOf(member: string, { certificate }: KeyBroker): string {
  if (certificate === undefined) return '';
  const lines = certificate.trim().split('\n');
  if (!lines.every((line) => PEM_LINE.test(line))) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'the certificate of the key broker is not PEM');
  }
  return `${member} = """\n${lines.join('\n')}\n"""\n`;
}
