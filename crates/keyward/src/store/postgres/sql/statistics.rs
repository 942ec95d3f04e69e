//! The statements of the statistics.

use tokio_postgres::types::Type;

use super::Statement;

statements! {
    COUNT_EVENTS(TEXT_ARRAY, INT8, INT8) = "SELECT e.name, count(*) \
         FROM keyward.audit_event AS e WHERE e.at >= $2 AND e.at < $3 AND e.name = ANY($1) \
         GROUP BY e.name ORDER BY e.name";
    /// Answers the hour where it was not counted before. `$2` is the name of the mark.
    KEEP_COUNTS(INT8, TEXT, TEXT_ARRAY, INT8_ARRAY) = "WITH marked AS ( \
         INSERT INTO keyward.event_count (hour, name, count) VALUES ($1, $2, 0) \
         ON CONFLICT DO NOTHING RETURNING hour), \
         kept AS (INSERT INTO keyward.event_count (hour, name, count) \
         SELECT m.hour, c.name, c.count FROM marked AS m, unnest($3, $4) AS c (name, count)) \
         SELECT m.hour FROM marked AS m";
    LIST_COUNTS(INT8, INT8, TEXT) = "SELECT c.hour, c.name, c.count FROM keyward.event_count AS c \
         WHERE c.hour >= $1 AND c.hour < $2 AND c.name <> $3 ORDER BY c.hour, c.name";
    LAST_COUNTED_HOUR() = "SELECT max(c.hour) FROM keyward.event_count AS c";
    DELETE_COUNTS(INT8) = "DELETE FROM keyward.event_count WHERE hour >= $1";
    COUNT_POPULATION(INT8) = concat!(
        "SELECT (SELECT count(*) FROM keyward.user), \
         (SELECT count(*) FROM keyward.user AS u WHERE u.disabled_at IS NOT NULL), \
         (SELECT count(*) FROM keyward.session AS s WHERE ",
        live!(),
        ")"
    );
}
