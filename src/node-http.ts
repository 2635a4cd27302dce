/**
 * `node:http`, without what its import costs. To import it Node reads each of its exports, `WebSocket` among them, and that
 * loads all of undici: more than the rest of a bare Node's start takes.
 */
export const { createServer, request } = process.getBuiltinModule('node:http')
