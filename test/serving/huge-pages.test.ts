import { expect, test } from 'vitest';

import { withHugePages } from '../../src/serving/huge-pages.ts';

test.each([
  ['asks for huge pages', undefined, 'glibc.malloc.hugetlb=1'],
  ['takes an empty one for none', '', 'glibc.malloc.hugetlb=1'],
  [
    'keeps what else is set',
    'glibc.malloc.arena_max=2',
    'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1',
  ],
  ['leaves what the user says of huge pages', 'glibc.malloc.hugetlb=0', 'glibc.malloc.hugetlb=0'],
])('the environment of a worker %s', (_what, before, after) => {
  const environment = { PATH: '/bin', ...(before !== undefined && { GLIBC_TUNABLES: before }) };
  expect(withHugePages(environment)).toEqual({ PATH: '/bin', GLIBC_TUNABLES: after });
});
