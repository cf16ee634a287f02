import { CollateralError } from './errors.ts';

/** The base of a service as people name it: without user name, query, fragment and trailing slash. */
export function baseAddress(text: string): string {
  if (!URL.canParse(text)) throw new TypeError(`${text} is no address`);
  const url = new URL(text);
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!/^https?:$/.test(url.protocol) || !plain) {
    throw new TypeError(`${url.origin}: an address is http or https, without user name, query and fragment`);
  }
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** Certificates and CRLs are signed; what plain HTTP gives away is which machines are verified. */
export function requireSecure(url: URL, insecureHttp: boolean): void {
  if (url.protocol === 'https:' || insecureHttp || isLoopback(url)) return;
  throw new CollateralError('insecure-address', `${url.host} is named with plain HTTP`);
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Where a redirect leads: the same host or nowhere, and never from https to http. */
export function redirectTarget(from: URL, location: string): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const stays = next?.host === from.host && (next.protocol === from.protocol || next.protocol === 'https:');
  if (next && stays) return next;
  throw new CollateralError('redirect', `${from.host} redirects to ${next ? next.host : 'no address'}`);
}
