import { must } from '../../core/index.js';
import {
  formatInterval,
  markdownTable,
  measureRelevance,
  overlapAtK,
  retention,
  segmentCases,
  type Segment,
} from '../../evaluation/index.js';
import { meanInterval, meanStatistics, type Interval } from '../../statistics/index.js';
import type { Cut } from '../bundles/protocol.js';
import type { Rankings } from './served-rankings.js';

/** What a pipeline keeps in one segment of the cases. */
export interface SegmentRow {
  readonly name: string;
  readonly segment: string;
  readonly bounds: string;
  readonly cases: number;
  readonly ndcgAt10: Interval;
  /** Absent where full finds nothing in this segment. */
  readonly retention?: Interval;
  /** Mean overlap@10 with full's answers to the segment's users. */
  readonly overlapAt10: Interval;
}

/** Every pipeline in every segment that has cases; none without a pipeline `full` to compare with. */
export function segmentRows(
  rankings: ReadonlyMap<string, Rankings>,
  { train, targets }: Cut,
  items: number,
): SegmentRow[] {
  const full = rankings.get('full');
  if (full === undefined) return [];
  const segments = segmentCases(train.items, targets, items).filter((segment) =>
    segment.targets.some((held) => held.length > 0),
  );
  return segments.flatMap((segment) =>
    [...rankings].map(([name, lists]) => segmentRow(name, lists, full, segment)),
  );
}

function segmentRow(name: string, lists: Rankings, full: Rankings, segment: Segment): SegmentRow {
  const own = measureRelevance(lists, segment.targets);
  const reference = measureRelevance(full, segment.targets);
  const overlaps = own.users.map((user) =>
    overlapAtK(must(lists[user], 'list'), must(full[user], 'list of full'), 10),
  );
  const isDefined = reference.values['NDCG@10'].some((value) => value > 0);
  return {
    name,
    segment: segment.name,
    bounds: segment.bounds,
    cases: own.users.length,
    ndcgAt10: meanInterval(meanStatistics(own.values['NDCG@10'])),
    ...(isDefined ? { retention: retention(own, reference, 'NDCG@10') } : {}),
    overlapAt10: meanInterval(meanStatistics(overlaps)),
  };
}

/** The rows as a Markdown table. */
export function segmentTable(rows: readonly SegmentRow[]): string {
  return markdownTable(
    [
      { header: 'segment', cell: ({ segment, bounds }) => `${segment} (${bounds})` },
      { header: 'ranker', cell: ({ name }) => name, align: 'left' },
      { header: 'cases', cell: ({ cases }) => cases },
      { header: 'NDCG@10', cell: ({ ndcgAt10 }) => formatInterval(ndcgAt10, 4) },
      {
        header: 'retention',
        cell: ({ retention: kept }) => (kept === undefined ? '' : formatInterval(kept, 4)),
      },
      { header: 'overlap@10', cell: ({ overlapAt10 }) => formatInterval(overlapAt10, 4) },
    ],
    rows,
  );
}
