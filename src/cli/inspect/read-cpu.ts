import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { cpuFromLinux, cpuFromMac, type Cpu } from '../../compression/index.js';

/** This machine's CPU; its features are null where the system does not tell them. */
export async function readCpu(): Promise<Cpu> {
  const { arch, platform } = process;
  const unknown: Cpu = { architecture: arch, features: null };
  try {
    if (platform === 'linux') return cpuFromLinux(arch, await readFile('/proc/cpuinfo', 'utf8'));
    if (platform === 'darwin') {
      const { stdout } = await promisify(execFile)('sysctl', ['machdep.cpu', 'hw.optional']);
      return cpuFromMac(arch, stdout);
    }
  } catch {
    // The report says that they are not known.
  }
  return unknown;
}
