const TUNABLE = 'glibc.malloc.hugetlb';

/**
 * The environment of a process that keeps what lookups read in its memory: on Linux, where the kernel
 * gives huge pages to who asks for them, it asks. Vectors copied out of many megabytes at random are
 * then found sooner. The C library reads it at the start of a process and at no other time. What the
 * user has set stands.
 */
export function withHugePages(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { GLIBC_TUNABLES: tunables = '' } = environment;
  if (tunables.includes(TUNABLE)) return environment;
  const all = tunables === '' ? `${TUNABLE}=1` : `${tunables}:${TUNABLE}=1`;
  return { ...environment, GLIBC_TUNABLES: all };
}
