import { inflateRawSync } from 'node:zlib'

/**
 * The change that makes the root maps and their buckets: the same bytes for each cluster, made by Automerge once and for all. To make its
 * thousand operations anew took a founder a tenth of a second of CPU.
 */
export const genesisChunk = (): Uint8Array => new Uint8Array(inflateRawSync(Buffer.from(DEFLATED, 'base64')))

/** Of {@link genesisChunk}: its hash. A start that knows it need not read a thousand operations. */
export const GENESIS_HASH = '4d224c62dabe79dfc6262917159bf9ecb5771d3af0b78f620ac038995655fc3e'

const DEFLATED =
  '7dM7jl5FEIbhc96B3w4tLERAhryAvlTfUkIEKXlXdbU0ssWMxgaJyJZtloA3RugdeBXIJiGE2FMqvdK3gOePmx/e/PTdj3r+9fh4' +
  'cvyHO8/jOB6c3/Dt1++/Er6/+vnq9uo4X3H8O4+O43z5aZwf85qPffPFcT56eznOl39ePvz+5a373XNCIERCImSCEAqhEhqhEwZh' +
  'EpRghEVwwiYGYiQmYiYKsRArsRE7cRAnUYlGXEQnblIgRVIiZZKQCqmSGqmTBmmSlGSkRXLSJgdyJCdyJgu5kCu5kTt5kCdZyUZe' +
  'ZCdvJCARSUhGBClIRRrSkYFMRBFDFuLIpgRKpCRKpgilUCqlUTplUCZFKUZZFKdsaqBGaqJmqlALtVIbtVMHdVKVatRFdeqmBVqk' +
  'JVqmCa3QKq3ROm3QJk1pRls0p216oEd6ome60Au90hu90wd90pVu9EV3+mYERmQkRmYIozAqozE6YzAmQxnGWAxnbGZgRmZiZqYw' +
  'C7MyG7MzB3MylWnMxXTmRgMa0YRmVNCCVrShHR3oRBU1dKGObixgEUtYxgQrWMUa1rGBTUwxwxbm2GYFVmQlVmYJq7Aqq7E6a7Am' +
  'S1nGWixnbTzgEU94xgUveMUb3vGBT1xxwxfu+GYHdmQndmYLu7Aru7E7e7AnW9nGXmxn74fP/e63a/N7CPcQPmsIl7ubX1/cM7hn' +
  '8JkzeHHz1H/53wwe3t48u7brT37eXd5djn/+bw=='
