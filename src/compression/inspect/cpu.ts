/** Instruction sets that decide which recipes pay, as Linux names them. */
export const CPU_FEATURES = [
  'avx2',
  'avx512f',
  'avx512_vnni',
  'avx_vnni',
  'amx_int8',
  'asimddp',
  'i8mm',
] as const;
export type CpuFeature = (typeof CPU_FEATURES)[number];

export interface Cpu {
  /** As Node names it: `x64`, `arm64` and so on. */
  readonly architecture: string;
  readonly model?: string;
  /** Those of {@link CPU_FEATURES} that it has; null where they could not be read. */
  readonly features: readonly CpuFeature[] | null;
}

/** How a CPU multiplies 8-bit numbers. */
export type Int8Arithmetic =
  /** With instructions that add up products of 8 bits in 32: VNNI, AMX, ARM's dot products. */
  | 'native'
  /** x86 without those: pairs of products are added in 16 bits, which overflow unless weights keep to 7 bits. */
  | 'saturating'
  | 'unknown';

/** Features that multiply 8 bits natively. */
const NATIVE: readonly CpuFeature[] = ['avx512_vnni', 'avx_vnni', 'amx_int8', 'asimddp', 'i8mm'];

export function int8Arithmetic({ architecture, features }: Cpu): Int8Arithmetic {
  if (features === null) return 'unknown';
  if (features.some((feature) => NATIVE.includes(feature))) return 'native';
  return architecture === 'x64' ? 'saturating' : 'unknown';
}

/** The CPU that `/proc/cpuinfo` of Linux describes: its first processor. */
export function cpuFromLinux(architecture: string, cpuinfo: string): Cpu {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1]?.trim();
  const flags = field('flags') ?? field('Features');
  const words = new Set(flags?.split(/\s+/));
  const features = flags === undefined ? null : CPU_FEATURES.filter((feature) => words.has(feature));
  return { architecture, ...named(field('model name')), features };
}

/** What macOS calls them: features of Intel's, and settings of Apple's own that are 1. */
const MAC_NAMES: Readonly<Record<CpuFeature, string>> = {
  avx2: 'AVX2',
  avx512f: 'AVX512F',
  avx512_vnni: 'AVX512VNNI',
  avx_vnni: 'AVXVNNI',
  amx_int8: 'AMXINT8',
  asimddp: 'hw.optional.arm.FEAT_DotProd: 1',
  i8mm: 'hw.optional.arm.FEAT_I8MM: 1',
};

/** The CPU that `sysctl machdep.cpu hw.optional` of macOS describes. */
export function cpuFromMac(architecture: string, sysctl: string): Cpu {
  const lines = sysctl.split('\n').map((line) => line.trim());
  const words = new Set([
    ...lines,
    ...lines.filter((line) => /^machdep\.cpu\.\w*features:/.test(line)).flatMap((line) => line.split(/\s+/)),
  ]);
  const model = lines.find((line) => line.startsWith('machdep.cpu.brand_string:'));
  const features = CPU_FEATURES.filter((feature) => words.has(MAC_NAMES[feature]));
  return { architecture, ...named(model?.replace(/^[^:]*:\s*/, '')), features };
}

function named(model: string | undefined): { model?: string } {
  return model === undefined || model === '' ? {} : { model };
}
