// What somebody writes against the types that are generated from `/openapi.json`.

import type { components, operations, paths } from './openapi'

type Json<T> = T extends { content: { 'application/json': infer Body } } ? Body : never
type Given<Id extends keyof operations> = Json<NonNullable<operations[Id]['requestBody']>>
type Answer<Id extends keyof operations> = Json<
  operations[Id]['responses'][200 & keyof operations[Id]['responses']]
>

export const credentials: Given<'login'> = { email: 'ada@example.org', password: 'secret' }

// @ts-expect-error The interface knows no such member.
export const misspelt: Given<'login'> = { email: 'ada@example.org', pasword: 'secret' }

/** Whom to greet, or what the second step of the sign-in takes. */
export function next(answer: Answer<'login'>): string {
  return 'user' in answer ? (answer.user.name ?? answer.user.email) : answer.mfaToken
}

/** When the token that came with a refresh has expired. */
export function expiry(answer: Answer<'refresh'>, now: Date): Date {
  return new Date(now.getTime() + 1000 * answer.expiresIn)
}

export function newest(answer: Answer<'sessions'>): string | undefined {
  return answer.sessions[0]?.createdAt
}

/** Whether to sign in again. */
export function isOver(error: components['responses']['Unauthorized']): boolean {
  const { code } = error.content['application/json']
  // @ts-expect-error No answer of 401 says so.
  return code === 'SESSION_REVOKED' || code === 'NOT_FOUND'
}

/** Every page but the first is asked for by its cursor. */
type Query = NonNullable<paths['/api/admin/users']['get']>['parameters']['query']
export const page: Query = { cursor: 'next', limit: 10 }
