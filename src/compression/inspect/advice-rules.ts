import { percent } from './adviser.js';
import type { Adviser, Wanted } from './adviser.js';

/** Below these multiply-adds a row, int8 gains nothing for one row. */
const SMALL_ROW = 200_000;

/** Smaller and 8-bit layers, where they are what takes the time. */
export function forLatency(adviser: Adviser): Wanted[] {
  const { arithmetic, subject } = adviser;
  const quick: Wanted = { names: ['int8'], reason: int8Reason(adviser) };
  const cut: Wanted = {
    names: ['pruned', 'lowrank', 'int8'],
    reason: `Smaller layers are faster on every machine (${adviser.takes('pruned')} lose neurons, ${adviser.takes('lowrank')} can be cut in rank), and int8 works on what they leave. It costs more accuracy: compare.`,
  };
  const dense = arithmetic === 'native' ? [quick, cut] : [cut, quick];
  const convolutional = adviser.workShare('static') - adviser.workShare('int8') >= 0.5;
  return [
    ...(subject.isOneRow ? [oneRow()] : []),
    ...(convolutional ? [staticAdvice(adviser)] : []),
    ...(denseMatters(adviser) ? dense : []),
    ...(adviser.workShare('heads') >= 0.25
      ? [
          {
            names: ['heads'],
            reason: `Attention heads are in ${adviser.takes('heads')}, with ${percent(adviser.workShare('heads'))} of the multiply-adds. Models with few heads lose much with each.`,
          },
        ]
      : []),
  ];
}

/** Share of the multiply-adds from which on dense layers decide a run's time; of the bytes, where those are not known. */
const DENSE_SHARE = 0.25;

function denseMatters(adviser: Adviser): boolean {
  if (!adviser.isWorkKnown) return adviser.byteShare('dense') >= DENSE_SHARE;
  return Math.max(adviser.workShare('int8'), adviser.workShare('lowrank')) >= DENSE_SHARE;
}

function oneRow(): Wanted {
  return {
    names: [],
    first: [{ pass: 'dynamic-batch' }],
    always: true,
    reason:
      'It takes one row at a time: where it scores several candidates, one run over all of them saves more than any compression. Compress the result.',
  };
}

function staticAdvice(adviser: Adviser): Wanted {
  const share = percent(adviser.workShare('static'));
  return {
    names: ['static'],
    reason: `${share} of the multiply-adds are in ${adviser.takes('static')} that static int8 takes, convolutions among them, which dynamic int8 leaves: 1.2 to 3 times faster as measured on VNNI.`,
  };
}

function int8Reason(adviser: Adviser): string {
  const { arithmetic, cpu, subject } = adviser;
  const share = adviser.isWorkKnown
    ? `${percent(adviser.workShare('int8'))} of the multiply-adds are in the ${adviser.takes('int8')} that int8 takes`
    : `Multiply-adds could not be counted, but dense layers are ${percent(adviser.byteShare('dense'))} of the bytes, and int8 takes ${adviser.takes('int8')}`;
  const perRow = (subject.multiplyAddsPer100Rows ?? 0) / 100;
  const small =
    adviser.isWorkKnown && perRow < SMALL_ROW
      ? ' For a single row it gains nothing: a row of this model has too little to multiply.'
      : '';
  if (arithmetic === 'native') {
    const measured =
      cpu.architecture === 'x64' ? 'measured on AVX-512 VNNI' : 'not measured on this kind of CPU';
    return `${share}, and this CPU multiplies 8 bits natively (${measured}); no requests needed.${small}`;
  }
  const why =
    arithmetic === 'saturating'
      ? 'this CPU has no VNNI, so its 8-bit sums overflow unless weights keep to 7 bits (reduceRange)'
      : 'the CPU’s instructions are not known, so weights keep to 7 bits (reduceRange), which is right on all';
  return `${share}; ${why}. The gain was not measured there: measure it.${small}`;
}

/** Fewer bytes, what loses least first. */
export function forMemory(adviser: Adviser): Wanted[] {
  const { dense, table } = { dense: adviser.byteShare('dense'), table: adviser.byteShare('table') };
  const where = `Tables are ${percent(table)} of the bytes, dense layers ${percent(dense)}.`;
  const lookups = adviser.fits('int8tables') ? ' Rows looked up take no longer.' : '';
  return [
    ...staticFirst(adviser),
    {
      names: ['int8tables', 'int8'],
      reason: `${where} 8 bits leave a quarter of what they take, with the least loss of all; no requests needed.${lookups}`,
    },
    ...(adviser.fits('int4tables') && adviser.fits('int8')
      ? [
          {
            names: ['int4tables', 'int8'],
            reason:
              'Half of the tables’ bytes again, with more error; each row looked up takes a little longer.',
          },
        ]
      : []),
    {
      names: ['int4tables', 'w4'],
      reason: 'The fewest bytes without requests: 4 bits wherever they fit. No faster at 100 rows.',
    },
    cutAndQuantized(adviser, 'int8'),
  ];
}

/** The smallest download, and what runs on every build of ONNX Runtime. */
export function forMobile(adviser: Adviser): Wanted[] {
  const contrib = adviser.fits('w4')
    ? ' Its dense layers need a build of ONNX Runtime with com.microsoft’s operators.'
    : '';
  return [
    ...staticFirst(adviser),
    {
      names: ['int4tables', 'w4'],
      reason: `The smallest download without requests: weights alone in 4 bits; activations stay float32.${contrib}`,
    },
    {
      names: ['int8tables', 'int8'],
      reason: 'Less loss than 4 bits, in operators of ONNX itself, which every build of ONNX Runtime has.',
    },
    cutAndQuantized(adviser, 'w4'),
    ...(adviser.byteShare('dense') >= 0.5 ? [SPARSE] : []),
  ];
}

const SPARSE: Wanted = {
  names: ['sparse'],
  reason:
    'Half of the dense weights zero: about half of their part of the download where files are compressed on their way, and nothing else. Neither the file nor a run gets smaller or faster.',
  always: true,
};

function cutAndQuantized(adviser: Adviser, quantized: 'int8' | 'w4'): Wanted {
  const fewer = [
    ...(adviser.fits('pruned') ? ['fewer neurons'] : []),
    ...(adviser.fits('lowrank') ? ['lower ranks'] : []),
    ...(adviser.fits(quantized) || adviser.fits('int4tables') ? ['fewer bits'] : []),
  ];
  return {
    names: ['pruned', 'lowrank', 'int4tables', quantized],
    reason: `The smallest: ${fewer.join(', ')}. It costs most accuracy: compare.`,
    onlySmallest: true,
  };
}

/** Share of the bytes from which on convolutions come first. */
const CONVOLUTIONAL = 0.2;

function staticFirst(adviser: Adviser): Wanted[] {
  const share = adviser.byteShare('conv');
  if (share < CONVOLUTIONAL) return [];
  const reason = `Convolutions are ${percent(share)} of the bytes, and static int8 alone takes them.`;
  return [{ names: ['static'], reason }];
}

/** Nodes, and share of them, from which on cleaning up is worth its own step. */
const UNTIDY_NODES = 10;
const UNTIDY = 0.1;

/** Clean-up where there is much to clean up. */
export function cleanUp(adviser: Adviser): Wanted[] {
  const { takes = 0, of = 1 } = adviser.subject.savings.find(({ recipe }) => recipe === 'simplify') ?? {};
  if (takes < Math.max(UNTIDY_NODES, UNTIDY * of)) return [];
  const reason = `${takes} of ${of} nodes depend on constants alone or do nothing: it loads faster, and other passes find more. Put it in front of any of the recipes.`;
  return [{ names: ['simplify'], reason, always: true }];
}
