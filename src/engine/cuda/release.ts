/** A file by its content. */
export interface PinnedFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** An archive that carries the libraries. */
export interface PinnedArchive extends PinnedFile {
  /** The npm package that it is, as `name@version`. */
  readonly package: string;
  /** Folder of the libraries in the archive. */
  readonly folder: string;
}

/** Another library that must be on the machine. */
export interface MachineLibrary {
  /** As the dynamic linker looks for it. */
  readonly name: string;
  readonly required: boolean;
  /** Where it comes from; a sentence. */
  readonly advice: string;
}

/** The CUDA provider of one version of onnxruntime, on one platform. */
export interface CudaRelease {
  /** Version of onnxruntime-node beside which the libraries work. */
  readonly runtime: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** In the order in which they are put in place: with the last one all are there. */
  readonly libraries: readonly PinnedFile[];
  readonly archives: readonly PinnedArchive[];
  readonly needs: readonly MachineLibrary[];
}

const TOOLKIT =
  'It is part of the CUDA 13 toolkit of NVIDIA; its folder must be in LD_LIBRARY_PATH or known to ldconfig.';
const toolkit = (name: string): MachineLibrary => ({ name, required: true, advice: TOOLKIT });

/**
 * The provider for CUDA 13, compute capability 7.5 to 12.0. `needs` is what its dynamic section names, and cuDNN, which
 * it opens where a model has operators of it.
 */
export const CUDA_RELEASE: CudaRelease = {
  runtime: '1.29.0',
  platform: 'linux',
  arch: 'x64',
  libraries: [
    {
      name: 'libonnxruntime_providers_shared.so',
      size: 14_632,
      sha256: 'c6a12593396095f5670160e284c35d1700b7708cf3037b7042e2a5200ccae772',
    },
    {
      name: 'libonnxruntime_providers_cuda.so',
      size: 229_780_440,
      sha256: '56cf3254b118ad837ccc4ed8f6d1b23504bbf7ef91b34cbc0b289cb7f10b3037',
    },
  ],
  archives: [
    {
      name: 'com.github.asus4.onnxruntime.linux-x64-gpu-0.4.9.tgz',
      package: 'com.github.asus4.onnxruntime.linux-x64-gpu@0.4.9',
      folder: 'package/Plugins/Linux/x64',
      size: 179_145_956,
      sha256: '2b459e0c17f340c92970c10ed86de4f37a3009f93c14053e6ad4334cbb6be412',
    },
  ],
  needs: [
    {
      name: 'libcuda.so.1',
      required: true,
      advice: 'It comes with the NVIDIA driver, version 580 or later for CUDA 13.',
    },
    toolkit('libcudart.so.13'),
    toolkit('libcublas.so.13'),
    toolkit('libcublasLt.so.13'),
    toolkit('libcurand.so.10'),
    {
      name: 'libcudnn.so',
      required: false,
      advice:
        'Only convolutions and some recurrent operators need it: cuDNN 9 for CUDA 13, which is opened by this name.',
    },
  ],
};
