import { describe, expect, test } from 'vitest';
import { cpuFromLinux, cpuFromMac, int8Arithmetic } from '../../../src/compression/inspect/cpu.js';

const XEON = `processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu vme avx avx2 avx512f avx512_vnni avx_vnni amx_tile amx_int8
bugs\t\t: spectre_v1

processor\t: 1
flags\t\t: fpu
`;

describe('the CPU', () => {
  test('of Linux on x86: features as whole words of the first processor', () => {
    const cpu = cpuFromLinux('x64', XEON);
    expect(cpu).toEqual({
      architecture: 'x64',
      model: 'Intel(R) Xeon(R) Platinum 8488C',
      features: ['avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'amx_int8'],
    });
    expect(int8Arithmetic(cpu)).toBe('native');
  });

  test('of Linux on x86 without VNNI: sums of 8-bit products saturate', () => {
    const cpu = cpuFromLinux('x64', 'flags : avx2 avx512f avx512_vnni_not\n');
    expect(cpu.features).toEqual(['avx2', 'avx512f']);
    expect(int8Arithmetic(cpu)).toBe('saturating');
  });

  test('of Linux on ARM', () => {
    const cpu = cpuFromLinux('arm64', 'BogoMIPS\t: 243\nFeatures\t: fp asimd asimdhp asimddp i8mm\n');
    expect(cpu).toEqual({ architecture: 'arm64', features: ['asimddp', 'i8mm'] });
    expect(int8Arithmetic(cpu)).toBe('native');
    // Nothing overflows in plain NEON, but what it gains was not measured.
    expect(int8Arithmetic(cpuFromLinux('arm64', 'Features : fp asimd\n'))).toBe('unknown');
  });

  test('of Linux that lists no features is not known', () => {
    expect(cpuFromLinux('riscv64', 'processor : 0\nisa : rv64imafdc\n').features).toBeNull();
    expect(int8Arithmetic({ architecture: 'x64', features: null })).toBe('unknown');
  });

  test('of macOS', () => {
    const apple =
      'machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\n';
    expect(cpuFromMac('arm64', apple)).toEqual({
      architecture: 'arm64',
      model: 'Apple M2',
      features: ['asimddp'],
    });
    const intel = 'machdep.cpu.features: FPU SSE\nmachdep.cpu.leaf7_features: RDWRFSGS AVX2 AVX512F\n';
    expect(cpuFromMac('x64', intel).features).toEqual(['avx2', 'avx512f']);
  });
});
