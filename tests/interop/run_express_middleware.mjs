// Runs the middleware that the guide for Express apps shows: one token a line, and for each the user whom it
// lets in, or the status that it answers. Argument: the file of the middleware. For a line `old ID` it is
// given a token of the app's own, as its login route has signed it.

import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import jwt from 'jsonwebtoken'

process.env.JWT_SECRET = 'keyboard cat'
const { requireUser } = await import(pathToFileURL(resolve(process.argv[2])))

function verdict(token) {
  return new Promise((answer) => {
    const request = { headers: { authorization: `Bearer ${token}` } }
    const response = {
      status: (status) => ({
        set() {
          return this
        },
        json: () => answer(`answered ${status}`),
      }),
    }
    requireUser(request, response, () => answer(`user ${request.userId}`))
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const id = /^old (.*)$/.exec(line)?.[1]
  const token = id ? jwt.sign({ id }, process.env.JWT_SECRET, { expiresIn: '7d' }) : line
  process.stdout.write(`${await verdict(token)}\n`)
}
