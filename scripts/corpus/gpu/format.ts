/** The parts of `evidenceFormat`, joined by «+»; words in brackets are for people where they say no encoding. */
const FORMATS: readonly RegExp[] = [
  /^spdm-1\.1-transcript \(hex(?:,[^)]*)?\)$/,
  /^PEM chain$/,
  /^SWID RIM$/,
  /^DER OCSP$/,
  /^detached EAT(?: JSON)?$/,
  /^(?:serialized )?evidence JSON(?: \([^)]*\))?$/,
  /^serialized evidence JSON of the NVIDIA SDK(?: \([^)]*\))?$/,
  /^NRAS request JSON$/,
  /^JWT$/,
  /^JWKS(?: \([^)]*\))?$/,
  /^SWID tag XML(?: with enveloped XML-DSig|, unsigned)$/,
];

/** Throws for a format that the runner does not read. */
export function checkFormat(evidenceFormat: string): void {
  const unknown = evidenceFormat.split(' + ').find((part) => !FORMATS.some((format) => format.test(part)));
  if (unknown !== undefined) throw new Error(`the format «${unknown}» is not known`);
}
