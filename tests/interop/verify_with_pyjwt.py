"""Verifies access tokens with PyJWT, straight from the published keys: one token a line, one verdict
a line. Arguments: the address of the key set, issuer, audience, algorithm, and for how many seconds
after a fetch the keys are not fetched for an unknown one.
"""

import sys

import jwt

key_set, issuer, audience, algorithm, cool_down = sys.argv[1:]
keys = jwt.PyJWKClient(key_set, cooldown_duration=float(cool_down))


def verdict(token):
    try:
        key = keys.get_signing_key_from_jwt(token)
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            return "refused typ"
        jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            options={"require": ["exp", "iat", "sub", "sid"], "strict_aud": True},
        )
        return "accepted"
    except jwt.ExpiredSignatureError:
        return "expired"
    except jwt.PyJWTError as error:
        return f"refused {type(error).__name__}"


for line in sys.stdin:
    print(verdict(line.rstrip("\n")), flush=True)
