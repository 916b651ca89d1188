import { must, WhittleError } from '../../core/index.js';
import {
  firstInteractions,
  holdOutLastBasket,
  holdOutLastItem,
  sequencesOf,
  type Dataset,
  type Sequences,
  type Split,
} from '../../data/index.js';

/** What is held out for judging: each user's last item, last basket, or nothing. */
export type Protocol = 'last-item' | 'last-basket' | 'none';

/** A data set cut for training and judging. */
export interface Cut {
  readonly train: Sequences;
  /** Per user the held-out items; empty for users who are not judged. */
  readonly targets: readonly Int32Array[];
  /** Per user the moment of the held-out items, unix seconds. */
  readonly targetTimesSeconds: readonly number[];
}

/** Data with baskets is judged by the last basket, since the lines of one invoice give each other away. */
export function defaultProtocol(dataset: Dataset): Protocol {
  return dataset.interactions.basket === undefined ? 'last-item' : 'last-basket';
}

/**
 * Cuts by time, never at random. A basket is held out whole and judged by what is new in it; an item counts at a
 * user's first interaction with it.
 */
export function cutDataset(dataset: Dataset, protocol: Protocol): Cut {
  const all = protocol === 'last-basket' ? sequencesOf(dataset) : firstInteractions(sequencesOf(dataset));
  const { train, targets } = holdOut(all, protocol);
  const targetTimesSeconds = targets.map((held, user) => {
    if (held.length === 0) return 0;
    const kept = must(train.items[user], 'items').length;
    return must(all.timesSeconds[user]?.[kept], 'time of what is held out');
  });
  return { train: firstInteractions(train), targets, targetTimesSeconds };
}

function holdOut(all: Sequences, protocol: Protocol): Split {
  switch (protocol) {
    case 'last-item':
      return holdOutLastItem(all);
    case 'last-basket':
      return holdOutLastBasket(all);
    case 'none':
      return { train: all, targets: all.items.map(() => new Int32Array()) };
  }
}

/** A protocol by its name. @throws USAGE_INVALID naming the allowed ones. */
export function parseProtocol(name: string): Protocol {
  const allowed: readonly Protocol[] = ['last-item', 'last-basket', 'none'];
  const found = allowed.find((protocol) => protocol === name);
  if (found !== undefined) return found;
  throw new WhittleError('USAGE_INVALID', `hold-out ${name} is not known; allowed: ${allowed.join(', ')}`, {
    field: 'hold-out',
    value: name,
    allowed,
  });
}
