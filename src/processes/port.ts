import type { Worker } from 'node:cluster';
import type { Port } from './channel.ts';

/** The channel of a process to the one that signs. */
export function portOfParent(): Port {
  return {
    send: (frames) => {
      if (process.connected) process.send?.([...frames]);
    },
    onFrames: (listener) => {
      process.on('message', (frames) => {
        listener(frames as readonly unknown[]);
      });
    },
    onEnd: (listener) => {
      process.on('disconnect', listener);
    },
  };
}

/** The channel of the signing process to one of the others. */
export function portOf(worker: Worker): Port {
  return {
    send: (frames) => {
      // What is lost with the channel is answered by its end.
      if (worker.isConnected()) worker.process.send([...frames], () => undefined);
    },
    onFrames: (listener) => {
      worker.on('message', (frames) => {
        listener(frames as readonly unknown[]);
      });
    },
    onEnd: (listener) => {
      worker.on('disconnect', listener);
    },
  };
}
