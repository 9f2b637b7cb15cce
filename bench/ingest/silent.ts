/** Who hears nothing of kafkajs: it says at starts that a broker is not ready yet. */
export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
