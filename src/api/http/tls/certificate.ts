import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'

/** What a certificate can name: a peer may be called anything. */
const isHost = (name: string): boolean => isIP(name) !== 0 || /^[A-Za-z0-9._-]{1,253}$/.test(name)

/**
 * A certificate that an agent makes for itself, and its key, as PEM. Nobody vouches for it: clients pin its fingerprint.
 * So it does not end either, RFC 5280 §4.1.2.5: an end would only cut off those who had checked it.
 */
export async function makeCertificate(names: readonly string[], now: number): Promise<{ key: string; cert: string }> {
  // Loaded at the first start of an agent only; the one needs the other.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)).with(0, 0x5a)).toString('hex'),
      name: 'CN=arctic agent',
      // A client whose clock is behind shall take it too.
      notBefore: new Date(now - 24 * 3600 * 1000),
      notAfter: new Date('9999-12-31T23:59:59Z'),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          [...new Set(['localhost', ...names.filter(isHost)])].map((value) => ({
            type: isIP(value) === 0 ? 'dns' : 'ip',
            value
          }))
        )
      ]
    },
    webcrypto
  )
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  const lines = key.match(/.{1,64}/g) ?? []
  return {
    key: `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`,
    cert: `${certificate.toString('pem')}\n`
  }
}
