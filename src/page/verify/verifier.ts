import type { Answer, Request } from './protocol.ts';

/** Called for each answer to the newest request; answers to earlier ones are dropped. */
export type Listener = (answer: Answer) => void;

/**
 * The worker with the verifier, made of the text that the page carries. One request at a time counts: a new one ends
 * whatever the last one was doing, so that a huge file cannot hold up the page.
 */
export class Verifier {
  readonly #listener: Listener;
  readonly #url: string;
  #worker: Worker;
  #id = 0;
  #isBusy = false;

  constructor(code: string, listener: Listener) {
    this.#listener = listener;
    this.#url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
    this.#worker = this.#start();
  }

  judge(request: Omit<Request, 'id'>): void {
    if (this.#isBusy) {
      this.#worker.terminate();
      this.#worker = this.#start();
    }
    this.#isBusy = true;
    this.#id++;
    this.#worker.postMessage({ ...request, id: this.#id } satisfies Request);
  }

  #start(): Worker {
    const worker = new Worker(this.#url);
    worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
      if (data.id !== this.#id) return;
      if (data.type !== 'report') this.#isBusy = false;
      this.#listener(data);
    });
    worker.addEventListener('error', () => {
      this.#isBusy = false;
      const advice = 'Load the page again; if it stays so, use `vouchsafe verify`.';
      const failure = { code: 'INTERNAL', message: 'the verifier did not start or broke off', advice };
      this.#listener({ id: this.#id, type: 'failure', failure });
    });
    return worker;
  }
}
