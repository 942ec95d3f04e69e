-- To make a month takes a lock for which every writer of the log has to wait, and every refresh
-- writes it. Beside a reader that stays, such as a backup on the first of a month, each node kept all
-- of them waiting for two seconds, as long as a request waits for a connection at most. Now it gives
-- up as soon as keyward.purge_audit does: another attempt comes.
--
-- And whoever had waited for another node did not see what that one had made, since a name that was
-- looked up before is remembered across that wait: it failed where there was nothing left to do.
--
-- compatible-since: 1
CREATE OR REPLACE FUNCTION keyward.add_audit_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    name text;
    since bigint;
    until bigint;
BEGIN
    FOR _ IN 1..3 LOOP
        name := 'audit_event_' || to_char(month, 'YYYY_MM');
        since := extract(epoch FROM month) * 1000;
        month := month + interval '1 month';
        until := extract(epoch FROM month) * 1000;
        CONTINUE WHEN to_regclass('keyward.' || name) IS NOT NULL;
        -- Of several nodes that start at once one adds the partition.
        PERFORM pg_advisory_xact_lock(7091177325117400175);
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class AS c
            WHERE c.relnamespace = 'keyward'::regnamespace AND c.relname = name
        );
        -- A month that has begun in the default partition stays there.
        CONTINUE WHEN EXISTS (
            SELECT FROM keyward.audit_event_default AS e WHERE e.at >= since AND e.at < until
        );
        EXECUTE format(
            'CREATE TABLE keyward.%I PARTITION OF keyward.audit_event FOR VALUES FROM (%s) TO (%s)',
            name, since, until
        );
    END LOOP;
END
$$;
