// Reads descriptions of the interface as others would, one path of a file a line, one verdict a line: a
// validator judges it, a generator makes types of it, and the compiler takes these, in its strict mode,
// with a program that was written against them.

import { copyFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import SwaggerParser from '@apidevtools/swagger-parser'
import openapiTS, { astToString } from 'openapi-typescript'
import ts from 'typescript'

const user = fileURLToPath(new URL('use_openapi.ts', import.meta.url))

/** Answers what the compiler finds wrong, in a line. */
function complaints(files) {
  const program = ts.createProgram(files, {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    types: [],
    lib: ['lib.es2022.d.ts'],
    skipDefaultLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  })
  const found = ts.getPreEmitDiagnostics(program)
  return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' ')).join(' ')
}

async function verdict(file) {
  try {
    await SwaggerParser.validate(file)
  } catch (error) {
    return `invalid ${error.message}`
  }
  const folder = dirname(file)
  const [types, program] = ['openapi.ts', 'use_openapi.ts'].map((name) => join(folder, name))
  try {
    writeFileSync(types, astToString(await openapiTS(pathToFileURL(file), { silent: true })))
  } catch (error) {
    return `ungenerated ${error.message}`
  }
  copyFileSync(user, program)
  const wrong = complaints([types, program])
  return wrong === '' ? 'accepted' : `uncompiled ${wrong}`
}

for await (const file of createInterface({ input: process.stdin })) {
  process.stdout.write(`${(await verdict(file)).replaceAll(/\s+/g, ' ')}\n`)
}
