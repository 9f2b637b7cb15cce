/** Python packages that training data is read with. One list, so that all who use it share one environment. */
export const TRAINER_PACKAGES = [
  'duckdb==2.0.0',
  'httpx==0.28.1',
  'numpy==2.4.6',
  'pandas==3.1.1',
  'polars==2.1.0',
  'pyarrow==26.0.1',
  'safetensors==0.8.0',
];
