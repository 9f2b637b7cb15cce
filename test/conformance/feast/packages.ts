/** Feast, and all that its answers can depend on, so that another day's run writes the same page. */
export const FEAST_PACKAGES = [
  'feast[duckdb]==0.67.0',
  'dask==2026.8.0',
  'duckdb==2.0.0',
  'ibis-framework==12.0.0',
  'pandas==2.3.3',
  'pyarrow==26.0.1',
];
