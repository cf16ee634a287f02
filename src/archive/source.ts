/** What the archive's stores offer to exports and audits; the room of exports defines it, for audits lie outside. */
export type { ArchiveSource, InstanceFiles } from '../export/source.ts';
