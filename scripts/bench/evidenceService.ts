// Prints the address of a service over simulated hardware that takes as long as hardware does: CPU_MS GPU_MS.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import { loadConfig } from '../../src/config/load.ts';
import { startService, stopOnSignal } from '../../src/main.ts';

const [cpuDelayMs = 0, gpuDelayMs = 0] = process.argv.slice(2).map(Number);
const data = mkdtempSync(join(process.env['VOUCHSAFE_BENCH_DIR'] ?? tmpdir(), 'vouchsafe-bench-evidence-'));
const { config } = await loadConfig({
  environment: {},
  cli: { server: { port: 0 }, data: { directory: data }, log: { level: 'warn' } },
});
const service = await startService(config, {
  collector: await createSimulatedCollector({ cpuDelayMs, gpuDelayMs }),
  notice: () => undefined,
});
process.stdout.write(`${service.url}\n`);
await stopOnSignal(service);
rmSync(data, { recursive: true, force: true });
