import process from 'node:process';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const TTY_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 10_000;

/** True where a line may be redrawn: a terminal, and not a CI log. */
function isInteractive() {
  return process.stderr.isTTY === true && !process.env.CI;
}

/**
 * Does `work` and reports meanwhile that it goes on: one redrawn line on a terminal, else a plain line every ten
 * seconds. `detail` is asked for the latest state at each turn.
 */
export async function withProgress(title, work, detail = () => '') {
  const started = Date.now();
  const interactive = isInteractive();
  let frame = 0;
  const line = () => {
    const state = detail();
    return `${title}${state && `: ${state}`}, ${Math.round((Date.now() - started) / 1000)} s`;
  };
  const draw = () => {
    if (interactive) process.stderr.write(`\r\x1b[2K${FRAMES[frame++ % FRAMES.length]} ${line()}`);
    else process.stderr.write(`${line()}\n`);
  };
  if (!interactive) process.stderr.write(`${title} …\n`);
  const timer = setInterval(draw, interactive ? TTY_INTERVAL_MS : PLAIN_INTERVAL_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    process.stderr.write(`${interactive ? '\r\x1b[2K' : ''}${line()}\n`);
  }
}
