/** `skip`: it could not be tried, and nothing is claimed. */
export type Outcome = 'pass' | 'fail' | 'skip';

/** One thing that was tried of one model. */
export interface Finding {
  readonly model: string;
  readonly check: string;
  readonly outcome: Outcome;
  readonly detail: string;
}

/** One measured number. */
export interface Figure {
  readonly model: string;
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** A model as an engine process loaded it. */
export interface ModelFacts {
  readonly model: string;
  /** Name and version. */
  readonly runtime: string;
  readonly providers: readonly string[];
  readonly tasks: readonly string[];
  /** Settings of the manifest, `decoder_batching` among them. */
  readonly options: Readonly<Record<string, string>>;
  readonly referenceLoadMs: number | undefined;
  readonly loadMs: number;
}

/** The graphics card and its software, as far as `nvidia-smi` tells. */
export interface GpuFacts {
  readonly name: string;
  readonly driver: string;
  readonly memoryMiB: number | undefined;
  readonly computeCapability: string;
  /** Newest CUDA version that the driver serves. */
  readonly cuda: string | undefined;
}

export interface Report {
  readonly provider: 'cpu' | 'cuda';
  readonly node: string;
  readonly cores: number;
  /** SHA-256 of the pack's list of digests; undefined where the check runs from a clone. */
  readonly pack: string | undefined;
  readonly gpu: GpuFacts | undefined;
  readonly models: readonly ModelFacts[];
  readonly findings: readonly Finding[];
  readonly figures: readonly Figure[];
  /** Whether everything was gone through. */
  readonly complete: boolean;
  /** Nothing failed, and every model was compared. */
  readonly holds: boolean;
}
