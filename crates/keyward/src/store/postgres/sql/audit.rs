//! The statements that record audit events.

use tokio_postgres::types::Type;

use super::Statement;

statements! {
    /// The ids are given out in the order of the arrays.
    INSERT_EVENTS(
        INT8_ARRAY, TEXT_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY,
        TEXT_ARRAY
    ) = "INSERT INTO keyward.audit_event (at, name, user_id, session_id, ip, user_agent, \
         request_id, detail) \
         SELECT e.at, e.name, e.user_id, e.session_id, e.ip, e.user_agent, e.request_id, \
         e.detail::json FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY \
         AS e (at, name, user_id, session_id, ip, user_agent, request_id, detail, place) \
         ORDER BY e.place";
    /// As `INSERT_EVENTS`, of users whom nothing has locked yet: each is kept from being deleted
    /// until the events are there, or the deletion is waited for and the event tells nobody's
    /// address.
    RECORD_EVENTS(
        INT8_ARRAY, TEXT_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY,
        TEXT_ARRAY
    ) = concat!(
        "INSERT INTO keyward.audit_event (at, name, user_id, session_id, ip, user_agent, \
         request_id, detail) \
         SELECT e.at, e.name, e.user_id, e.session_id, CASE WHEN told THEN e.ip END, \
         CASE WHEN told THEN e.user_agent END, e.request_id, e.detail \
         FROM (SELECT g.at, g.name, g.user_id, g.session_id, g.ip, g.user_agent, g.request_id, \
         g.detail::json AS detail, g.place, coalesce(g.user_id, \
         (SELECT s.user_id FROM keyward.session AS s WHERE s.id = g.session_id)) AS about \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY \
         AS g (at, name, user_id, session_id, ip, user_agent, request_id, detail, place)) AS e \
         LEFT JOIN LATERAL (SELECT u.id FROM keyward.user AS u WHERE u.id = e.about \
         FOR KEY SHARE) AS u ON true \
         CROSS JOIN LATERAL (SELECT e.about IS NULL OR u.id IS NOT NULL OR ",
        own_act!("e.about::text"),
        " IS NOT TRUE AS told) AS t ORDER BY e.place"
    );
}
