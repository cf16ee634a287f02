import { spawn } from 'node:child_process';
import { FuseServer } from './fuseServer.ts';
import { MACHINE, type FromServer, type MadeReport, type ToServer } from './messages.ts';
import type { Errno } from './fuseWire.ts';
import type { Machine } from './reportRequest.ts';
import { ReportTree } from './reportTree.ts';

// A process of its own: serves the tree at the folder of its first argument until it is unmounted or its parent ends.

const [folder = ''] = process.argv.slice(2);
const asked = new Map<number, (made: MadeReport | Errno) => void>();
let nextId = 1;

const machine: Machine = {
  state: MACHINE,
  lock: Promise.resolve(),
  reports: 0,
  driver: (wanted) => {
    const id = nextId++;
    say({ type: 'report', id, wanted });
    return new Promise((resolve) => asked.set(id, resolve));
  },
};
const tree = new ReportTree(machine);

function say(message: FromServer): void {
  process.send?.(message);
}

process.on('message', (message: ToServer) => {
  if (message.type === 'made') {
    asked.get(message.id)?.(message.report);
    asked.delete(message.id);
    return;
  }
  if (message.type === 'set') machine.state = { ...machine.state, ...message.state };
  const observations = { ...tree.names, reports: machine.reports };
  say({ type: 'answer', id: message.id, observations });
});
// Where the parent ended before it could unmount. Nothing hangs: every request that waits fails with this process.
process.on('disconnect', () => {
  spawn('umount', ['-l', folder]).once('close', () => process.exit(0));
});

try {
  await new FuseServer(tree).mount(folder);
  say({ type: 'mounted' });
} catch (error) {
  say({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
}
