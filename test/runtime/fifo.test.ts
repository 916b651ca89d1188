import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fifo } from '../../src/runtime/fifo.js';

test('a queue does what an array does', () => {
  const command = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('push' as const), count: fc.nat({ max: 40 }) }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('shift' as const), count: fc.nat({ max: 40 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('retain' as const), count: fc.nat({ max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('drain' as const), count: fc.constant(0) }) },
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const queue = new Fifo<{ readonly id: number }>();
      let model: { readonly id: number }[] = [];
      let made = 0;
      for (const { kind, count } of commands) {
        if (kind === 'retain') {
          const keep = ({ id }: { readonly id: number }): boolean => id % 5 !== count;
          queue.retain(keep);
          model = model.filter(keep);
        } else if (kind === 'drain') expect(queue.drain()).toEqual(model.splice(0));
        else
          for (let turn = 0; turn < count; turn++) {
            if (kind === 'shift') expect(queue.shift()).toBe(model.shift());
            else {
              const item = { id: made++ };
              queue.push(item);
              model.push(item);
            }
          }
        expect(queue.length).toBe(model.length);
        expect(queue.peek()).toBe(model[0]);
      }
    }),
  );
});
