-- Few users have a role. Whoever asks for the users of one role looks at those alone.
CREATE INDEX user_with_roles ON user (id) WHERE roles <> '[]';
