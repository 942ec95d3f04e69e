// Verifies access tokens with jose, straight from the published keys: one token a line, one verdict
// a line. Arguments: the address of the key set, issuer, audience, algorithm, and for how many seconds
// after a fetch the keys are not fetched for an unknown one.

import { createInterface } from 'node:readline'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

const [keySet, issuer, audience, algorithm, coolDown] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL(keySet), { cooldownDuration: 1000 * coolDown })

async function verdict(token) {
  try {
    await jwtVerify(token, keys, {
      algorithms: [algorithm],
      issuer,
      audience,
      typ: 'at+jwt',
      requiredClaims: ['exp', 'iat', 'sub', 'sid'],
    })
    return 'accepted'
  } catch (error) {
    return error instanceof errors.JWTExpired ? 'expired' : `refused ${error.code}`
  }
}

for await (const token of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await verdict(token)}\n`)
}
