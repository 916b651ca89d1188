import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { segmentCases } from '../../src/evaluation/index.js';

const named = (segments: ReturnType<typeof segmentCases>, name: string): number[][] =>
  (segments.find((segment) => segment.name === name)?.targets ?? []).map((held) => Array.from(held));

describe('segmentCases', () => {
  it('cuts items into thirds of all interactions, and users at the median of judged histories', () => {
    // Interactions: item 0 four times, item 1 twice, items 2 to 7 once each; item 8 never. A third is four.
    const histories = [[0, 0, 0, 0, 1, 1], [2, 3], [4, 5, 6], [7]];
    const targets = [[1, 8], [0], [4, 7], []];
    const segments = segmentCases(histories, targets, 9);
    expect(named(segments, 'head')).toEqual([[], [0], [], []]);
    // Items 1, 2 and 3 hold the second third.
    expect(named(segments, 'middle')).toEqual([[1], [], [], []]);
    expect(named(segments, 'tail')).toEqual([[8], [], [4, 7], []]);
    // Judged users have 6, 2 and 3 items: the median is 3.
    expect(named(segments, 'short')).toEqual([[], [0], [4, 7], []]);
    expect(named(segments, 'long')).toEqual([[1, 8], [], [], []]);
    expect(segments.map(({ bounds }) => bounds)).toEqual([
      '1 items with at most 4 interactions',
      '3 items with at most 2 interactions',
      '5 items with at most 1 interactions',
      'histories up to 3 items',
      'histories above 3 items',
    ]);
  });

  it('loses and doubles no target', () => {
    const item = fc.integer({ min: 0, max: 19 });
    const user = fc.tuple(fc.array(item), fc.uniqueArray(item));
    fc.assert(
      fc.property(fc.array(user), (users) => {
        const targets = users.map(([, held]) => held);
        const segments = segmentCases(
          users.map(([history]) => history),
          targets,
          20,
        );
        for (const names of [
          ['head', 'middle', 'tail'],
          ['short', 'long'],
        ]) {
          const joined = targets.map((_, place) =>
            names.flatMap((name) => named(segments, name)[place] ?? []).sort((a, b) => a - b),
          );
          expect(joined).toEqual(targets.map((held) => [...held].sort((a, b) => a - b)));
        }
      }),
    );
  });
});
