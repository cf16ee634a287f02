import { FuseError, ROOT_NODE, type NodeAttributes } from './fuseWire.ts';
import { InblobFile, ReportRequest, type BlobName, type Machine } from './reportRequest.ts';

// Folders and attributes as a program sees them below the mount point of configfs.

const READ = 1;
const WRITE = 2;

/** What a file that is open on an attribute does. */
export interface OpenFile {
  read?(): Promise<Uint8Array> | Uint8Array;
  write?(bytes: Buffer, offset: number): void;
  close?(): void;
}

interface Attribute {
  readonly mode: 0o200 | 0o444;
  /** Whether the driver of this machine offers it. */
  readonly isVisible: (machine: Machine) => boolean;
  readonly open: (request: ReportRequest) => OpenFile;
}

const always = () => true;
const onSnp = ({ state }: Machine) => state.provider === 'sev_guest';
const belowSvsm = (machine: Machine) => onSnp(machine) && machine.state.hasSvsm;

function shown(
  show: (request: ReportRequest) => string,
  isVisible = always as Attribute['isVisible'],
): Attribute {
  return { mode: 0o444, isVisible, open: (request) => ({ read: () => Buffer.from(show(request)) }) };
}

function stored(
  store: (request: ReportRequest, text: string) => void,
  isVisible: Attribute['isVisible'],
): Attribute {
  return {
    mode: 0o200,
    isVisible,
    open: (request) => ({ write: (bytes) => store(request, bytes.toString()) }),
  };
}

function blob(name: BlobName, isVisible: Attribute['isVisible']): Attribute {
  return { mode: 0o444, isVisible, open: (request) => ({ read: () => request.fill(name) }) };
}

const ATTRIBUTES: ReadonlyMap<string, Attribute> = new Map([
  ['generation', shown((request) => request.showGeneration())],
  ['provider', shown((request) => request.showProvider())],
  ['privlevel', stored((request, text) => request.storePrivlevel(text), onSnp)],
  ['privlevel_floor', shown((request) => request.showPrivlevelFloor(), onSnp)],
  ['service_provider', stored((request, text) => request.storeServiceProvider(text), belowSvsm)],
  ['inblob', { mode: 0o200, isVisible: always, open: (request) => new InblobFile(request) }],
  ['outblob', blob('outblob', always)],
  ['auxblob', blob('auxblob', onSnp)],
  ['manifestblob', blob('manifestblob', belowSvsm)],
]);

type Node =
  | { readonly kind: 'folder'; readonly attributes: NodeAttributes; readonly children: Map<string, Node> }
  | {
      readonly kind: 'attribute';
      readonly attributes: NodeAttributes;
      readonly attribute: Attribute;
      readonly request: ReportRequest;
    };
type Folder = Extract<Node, { kind: 'folder' }>;

export class ReportTree {
  readonly #machine: Machine;
  readonly #nodes = new Map<number, Node>();
  readonly #reports: Folder;
  readonly #made: string[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
    const root = this.#addFolder(ROOT_NODE);
    const tsm = this.#addFolder();
    this.#reports = this.#addFolder();
    root.children.set('tsm', tsm);
    tsm.children.set('report', this.#reports);
  }

  /** Names of the requests that exist, and of all that ever did. */
  get names(): { readonly requests: readonly string[]; readonly made: readonly string[] } {
    return { requests: [...this.#reports.children.keys()], made: [...this.#made] };
  }

  attributesOf(id: number): NodeAttributes {
    return this.#node(id).attributes;
  }

  lookup(parent: number, name: string): NodeAttributes {
    const child = new Map(this.#childrenOf(this.#folder(parent))).get(name);
    if (!child) throw new FuseError('ENOENT');
    return child.attributes;
  }

  entries(id: number): readonly (readonly [string, NodeAttributes])[] {
    return this.#childrenOf(this.#folder(id)).map(([name, { attributes }]) => [name, attributes] as const);
  }

  mkdir(parent: number, name: string): NodeAttributes {
    const folder = this.#folder(parent);
    if (folder !== this.#reports) throw new FuseError('EPERM');
    const { mkdirError, provider } = this.#machine.state;
    if (mkdirError) throw new FuseError(mkdirError);
    if (provider === null) throw new FuseError('ENXIO');
    if (folder.children.has(name)) throw new FuseError('EEXIST');
    const request = new ReportRequest(this.#machine);
    const made = this.#addFolder();
    for (const [attributeName, attribute] of ATTRIBUTES) {
      if (!attribute.isVisible(this.#machine)) continue;
      const attributes = { id: this.#nodes.size + 1, isDirectory: false, mode: attribute.mode };
      const node: Node = { kind: 'attribute', attributes, attribute, request };
      this.#nodes.set(attributes.id, node);
      made.children.set(attributeName, node);
    }
    folder.children.set(name, made);
    this.#made.push(name);
    return made.attributes;
  }

  /** Works while files below it are open: they keep what they have. */
  rmdir(parent: number, name: string): void {
    const folder = this.#folder(parent);
    if (folder !== this.#reports) throw new FuseError('EPERM');
    const [error, ...rest] = this.#machine.state.rmdirErrors;
    if (error) {
      this.#machine.state = { ...this.#machine.state, rmdirErrors: rest };
      throw new FuseError(error);
    }
    if (!folder.children.delete(name)) throw new FuseError('ENOENT');
  }

  /** Modes hold for root too. */
  open(id: number, flags: number): OpenFile {
    const node = this.#node(id);
    if (node.kind === 'folder') throw new FuseError('EISDIR');
    // O_RDONLY is 0, O_WRONLY 1, O_RDWR 2.
    const wanted = [READ, WRITE, READ | WRITE][flags & 3] ?? 0;
    const offered = node.attribute.mode === 0o200 ? WRITE : READ;
    if (wanted !== offered) throw new FuseError('EACCES');
    return node.attribute.open(node.request);
  }

  #addFolder(id = this.#nodes.size + 1): Folder {
    const folder: Folder = {
      kind: 'folder',
      attributes: { id, isDirectory: true, mode: 0o755 },
      children: new Map(),
    };
    this.#nodes.set(id, folder);
    return folder;
  }

  #childrenOf(folder: Folder): readonly (readonly [string, Node])[] {
    const isHidden = folder.attributes.id === ROOT_NODE && !this.#machine.state.isLoaded;
    return isHidden ? [] : [...folder.children];
  }

  #node(id: number): Node {
    const node = this.#nodes.get(id);
    if (!node) throw new FuseError('ENOENT');
    return node;
  }

  #folder(id: number): Folder {
    const node = this.#node(id);
    if (node.kind !== 'folder') throw new FuseError('ENOTDIR');
    return node;
  }
}
