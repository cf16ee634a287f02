/** Every reason for which a model is refused, with what a person can do about it. The codes are stable. */
export const MODEL_ERRORS = {
  STORE_UNREADABLE: 'The model store cannot be read. Check the path and its permissions.',
  MODEL_ID_INVALID:
    'A model is named with letters, digits, dot, underscore and hyphen, at most 128, and starts with a letter or digit. Rename the folder.',
  MODEL_AMBIGUOUS: 'More than one ONNX file could be the model. Keep one, as onnx/model.onnx or model.onnx.',
  WEIGHTS_MISSING: 'The model folder holds no ONNX file. Export the model to onnx/model.onnx.',
  ADAPTER_UNSUPPORTED: 'Adapters are not applied by this engine. Merge the adapter into the weights.',
  PATH_ESCAPE: 'The path leaves the model folder or is not plain. Export the model again with its data beside it.',
  SYMLINK: 'Symbolic links are refused in a model folder. Copy the file into its place.',
  NOT_A_FILE: 'A regular file was expected here. Put the file into its place.',
  FILE_MISSING: 'The file does not exist. Download or export the model again.',
  FILE_UNREADABLE: 'The file cannot be read. Check its permissions.',
  FILE_TOO_LARGE: 'The file is larger than one buffer may be. Export the weights as several external data files.',
  FILE_MALFORMED: 'The file does not follow its format. Download or export the model again.',
  EXTERNAL_DATA_MISSING: 'A file with external weights is missing. Copy it beside the ONNX file.',
  EXTERNAL_DATA_TRUNCATED: 'A file with external weights is shorter than the model says. Download it again.',
  EXTERNAL_DATA_UNSUPPORTED:
    'Only initializers of the main graph may have external data. Save the model with its constants inside.',
  UNSUPPORTED_IR: 'The ONNX IR version is newer than this runtime reads. Export for IR version 13 or older.',
  UNSUPPORTED_OPSET: 'The operator set is newer than this runtime runs. Export for opset 26 or older.',
  UNSUPPORTED_MODEL: 'The runtime cannot run this model. Check its operators and tensor types.',
  MODEL_CHANGED: 'The files are not those that were loaded before. Restore them, or restart the service.',
  RELEASE_UNREADABLE:
    'The release cannot be read. Run `vouchsafe models verify`, then remove it and add it again.',
  FILE_CHANGED:
    'The file is not the one that was added to the store. Run `vouchsafe models verify`, then remove the release and add it again.',
  SIGNATURE_MISSING:
    'The policy models.signing takes signed releases only. Sign the model and add it with `vouchsafe models add`.',
  SIGNATURE_REFUSED:
    'The signature of the release is not good under models.signing. Do not serve it; add a release that is.',
  SEALED_MALFORMED:
    'The header of the sealed model cannot be read. Copy the folder again, or seal the model again with `vouchsafe models seal`.',
  SEALED_REFUSED:
    'The sealed model was changed, or the data key is of another one. Copy the folder again, or seal the model again.',
  KEY_MALFORMED: 'A key file has 32 bytes or 64 hex digits. `vouchsafe models seal --new-key` makes one.',
  DATA_KEY_MISSING:
    'The model is sealed, and its data key was not released. Set keyRelease.from and keyRelease.address; the log of whoever holds the key says why it refused.',
  PROVIDER_MISSING:
    'The CUDA provider was asked for but does not load. Install the named library, or choose the provider cpu or auto.',
  PROVIDER_UNSUPPORTED:
    'The model has operators that CUDA cannot run, and the fallback to the CPU is off. Choose the provider cpu.',
} as const;

export type ModelErrorCode = keyof typeof MODEL_ERRORS;

/** A model that is refused: `file` is the path as the operator knows it, relative to the model folder. */
export class ModelError extends Error {
  readonly code: ModelErrorCode;
  readonly model: string;
  readonly file: string;
  /** The message without model and file. */
  readonly detail: string;

  constructor(code: ModelErrorCode, model: string, file: string, detail: string) {
    super(`${model}: ${file}: ${detail}`);
    this.name = 'ModelError';
    this.code = code;
    this.model = model;
    this.file = file;
    this.detail = detail;
  }

  /** What a person can do about it. */
  get advice(): string {
    return MODEL_ERRORS[this.code];
  }
}

/** A reason found below the level that knows the model; `ModelError` adds the name. */
export class FileRefused extends Error {
  readonly code: ModelErrorCode;

  constructor(code: ModelErrorCode, detail: string) {
    super(detail);
    this.name = 'FileRefused';
    this.code = code;
  }
}
