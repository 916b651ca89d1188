import type { Reporter, SerializedError, TestModule, TestRunEndReason } from 'vitest/node';

/** Numbers of one test run. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** `N passed, N failed`, and `, N skipped` where there are any. */
export function formatSummary({ passed, failed, skipped }: Summary): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/**
 * Counts tests. What breaks outside of a test counts as one failure each: a file that cannot be loaded, a failed
 * `beforeAll`, an unhandled rejection; so does a run that failed without any of these, such as one without files.
 */
function summarize(
  modules: readonly TestModule[],
  unhandledErrors: readonly SerializedError[],
  reason: TestRunEndReason,
): Summary {
  const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  for (const module of modules) {
    if (module.errors().length > 0) count.failed++;
    for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed++;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      // A test that never got its result belongs to a run that broke off.
      count[state === 'pending' ? 'failed' : state]++;
    }
  }
  if (reason !== 'passed' && count.failed === 0) count.failed = 1;
  return count;
}

/** Prints the summary alone on the last line: when the process ends, after all that Vitest itself has to say. */
export default class SummaryReporter implements Reporter {
  #summary: Summary | undefined;

  onInit(): void {
    process.on('exit', () => {
      if (this.#summary !== undefined) process.stdout.write(`${formatSummary(this.#summary)}\n`);
    });
  }

  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    this.#summary = summarize(modules, unhandledErrors, reason);
  }
}
