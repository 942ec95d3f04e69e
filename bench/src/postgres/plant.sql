-- Makes of each line of `planted` a session as it is in the middle of its life: refreshed many
-- times by a client that sends an Idempotency-Key, so that no column is shorter than it will be.
-- Each user has two of them.
INSERT INTO keyward.user (
    id, email, email_key, roles, email_verified, claims, password_hash, credential_version,
    created_at, last_login_at
)
SELECT
    user_id, 'planted' || n || '@example.org', 'planted' || n || '@example.org', '{}', true, '{}',
    '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('A', 22) || '$' || repeat('A', 43), 0,
    created_at, created_at
FROM planted
WHERE n % 2 = 0;

INSERT INTO keyward.session (
    id, user_id, generation, refresh_token_hash, previous_token_hash, sealed_successor,
    retry_proofs, rotated_at, created_at, last_used_at, idle_expires_at, expires_at, ip,
    user_agent, auth_time, amr
)
SELECT
    id, user_id, :generation, hash, sha256(hash), decode(repeat('5e', 130), 'hex'),
    decode(repeat(repeat('a7', 16) || encode(int8send(:now), 'hex'), 8), 'hex'),
    :now, created_at, :now, :now + 7 * 86400000::bigint, created_at + 30 * 86400000::bigint,
    '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    created_at, '{pwd}'
FROM planted;
