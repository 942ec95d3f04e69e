-- What has had its time leaves in small steps. The service's role deletes nothing by itself. It calls
-- these functions, which run with their owner's rights and take away nothing that is younger than 29
-- days by the server's clock, or than 90 minutes where it is revocations: neither whoever takes over
-- the running service nor a node whose clock runs ahead makes recent events disappear.
--
-- The service itself keeps each of them longer, 30 days and two hours at least. The margin lets a
-- node whose clock is somewhat ahead of the server's do its work. Days are given in hours, since the
-- session's time zone may have shorter and longer days.
--
-- compatible-since: 1

-- Sessions that are dead for long are found by the time that never moves: a refresh changes no index
-- entry for it, and stays within its page.
CREATE INDEX session_by_expiry ON keyward.session (expires_at);

CREATE FUNCTION keyward.require_old(before bigint, age interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF before > extract(epoch FROM now() - age) * 1000 THEN
        RAISE EXCEPTION 'what is younger than % stays', age USING ERRCODE = 'KW001';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION keyward.require_old(bigint, interval) FROM PUBLIC;

-- Deletes sessions whose absolute timeout came before this time; answers how many. Waits for no lock.
CREATE FUNCTION keyward.purge_sessions(expired_before bigint, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM keyward.require_old(expired_before, '696 hours');
    DELETE FROM keyward.session WHERE id = ANY (ARRAY(
        SELECT s.id FROM keyward.session AS s WHERE s.expires_at < expired_before
        ORDER BY s.expires_at LIMIT at_most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION keyward.purge_sessions(bigint, integer) FROM PUBLIC;

-- Deletes audit events before this time, the oldest ones first: rows of the default partition, whose
-- number is answered, or else the oldest month that is over by then as a whole, for which the answer
-- is -1. Of several nodes one does so at a time; the others are answered 0.
--
-- To drop a month takes a lock for which every writer of the log would have to wait, so that it is
-- given up soon where others hold theirs: another attempt comes.
CREATE FUNCTION keyward.purge_audit(before bigint, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
    oldest record;
    deleted bigint;
BEGIN
    PERFORM keyward.require_old(before, '696 hours');
    IF NOT pg_try_advisory_xact_lock(7091177325117400178) THEN
        RETURN 0;
    END IF;
    SELECT p.name, p.since INTO oldest FROM (
        SELECT c.oid::regclass AS name,
            substring(b.bound FROM 'FROM \(''(-?\d+)''\)')::bigint AS since,
            substring(b.bound FROM 'TO \(''(-?\d+)''\)')::bigint AS until
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid,
            pg_get_expr(c.relpartbound, c.oid) AS b (bound)
        WHERE i.inhparent = 'keyward.audit_event'::regclass
    ) AS p WHERE p.until <= before ORDER BY p.since LIMIT 1;
    DELETE FROM keyward.audit_event_default WHERE id = ANY (ARRAY(
        SELECT e.id FROM keyward.audit_event_default AS e
        WHERE e.at < least(before, oldest.since)
        ORDER BY e.id LIMIT at_most FOR UPDATE SKIP LOCKED
    )) AND at < least(before, oldest.since);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted = 0 AND oldest.name IS NOT NULL THEN
        EXECUTE format('DROP TABLE %s', oldest.name);
        RETURN -1;
    END IF;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION keyward.purge_audit(bigint, integer) FROM PUBLIC;

-- Deletes revocations before this time, the oldest ones first; answers how many. Waits for no lock.
CREATE FUNCTION keyward.purge_revocations(before bigint, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM keyward.require_old(before, '90 minutes');
    -- Materialised: a plan that asks for the oldest ones again and again would delete more.
    WITH old AS MATERIALIZED (
        SELECT o.written_by, o.id FROM keyward.revocation AS o WHERE o.at < before
        ORDER BY o.at LIMIT at_most FOR UPDATE SKIP LOCKED
    )
    DELETE FROM keyward.revocation AS r USING old
    WHERE r.written_by = old.written_by AND r.id = old.id;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION keyward.purge_revocations(bigint, integer) FROM PUBLIC;
