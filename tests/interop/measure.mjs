// Measures jose and fast-jwt: reads one JSON object a line, a key and the tokens that it has signed, and
// answers the CPU time that each took for one token, in nanoseconds. Every token must be good.

import { createPublicKey } from 'node:crypto'
import { createInterface } from 'node:readline'
import { createVerifier } from 'fast-jwt'
import { importJWK, jwtVerify } from 'jose'

async function cost(tokens, verify) {
  const began = process.cpuUsage()
  for (const token of tokens) {
    await verify(token)
  }
  const { user, system } = process.cpuUsage(began)
  return ((user + system) * 1000) / tokens.length
}

/** Answers what verifies with each library; those that remember are asked twice. */
async function verifiers({ jwk, issuer, audience }) {
  const key = await importJWK(jwk)
  const options = { algorithms: [jwk.alg], issuer, audience, typ: 'at+jwt' }
  const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const fast = (cache) =>
    createVerifier({
      key: pem,
      algorithms: [jwk.alg],
      allowedIss: issuer,
      allowedAud: audience,
      checkTyp: 'at+jwt',
      cache,
    })
  return { jose: (token) => jwtVerify(token, key, options), fastJwt: fast(false), fastJwtCached: fast(10_000) }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { tokens, ...issuer } = JSON.parse(line)
  const { jose, fastJwt, fastJwtCached } = await verifiers(issuer)
  const answer = {
    jose: await cost(tokens, jose),
    fastJwt: await cost(tokens, fastJwt),
  }
  await cost(tokens, fastJwtCached)
  answer.fastJwtSeen = await cost(tokens, fastJwtCached)
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
