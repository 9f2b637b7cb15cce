import { mkdirSync, writeFileSync } from 'node:fs';

import type { Reporter, TestModule } from 'vitest/node';

/** Writes one line, `N passed, N failed, N skipped`, as the last word on a run. */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    // A file that fails to load, or an error outside any test, counts as a failure.
    let failed = errors.length;
    let skipped = 0;
    for (const module of modules) {
      let ran = 0;
      for (const test of module.children.allTests()) {
        ran++;
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'skipped') skipped++;
        else failed++;
      }
      if (ran === 0) failed++;
    }
    const line = `${passed} passed, ${failed} failed, ${skipped} skipped`;
    mkdirSync('.cache', { recursive: true });
    writeFileSync('.cache/test-counts', `${line}\n`);
    process.stdout.write(`\n${line}\n`);
  }
}
