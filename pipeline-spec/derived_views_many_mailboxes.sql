-- `emails`, `message_labels` and `attachments` as views over the tables `messages` and `labels` of a pipeline over many mailboxes.
-- Made from derived_views.sql by scripts/derived_views.py.
-- Run it in the catalog and schema of those tables. docs/databricks.md describes how the views differ from the derived tables.

CREATE OR REPLACE VIEW emails AS
WITH names AS (
  SELECT mailbox, map_from_entries(collect_list(struct(id, name))) AS label_map FROM labels GROUP BY mailbox
),
read AS (
  SELECT
    m.*,
    names.label_map,
    transform(coalesce(payload.headers, array()), h -> struct(lower(h.name) AS name, h.value AS value)) AS headers,
    coalesce(labelIds, array()) AS held,
    coalesce(payload.parts, array()) AS level_1,
    flatten(transform(coalesce(payload.parts, array()), p -> coalesce(p.parts, array()))) AS level_2
  FROM messages m LEFT JOIN names ON names.mailbox = m.mailbox
),
deeper AS (
  SELECT *, flatten(transform(level_2, p -> coalesce(p.parts, array()))) AS level_3 FROM read
),
deepest AS (
  SELECT *, flatten(transform(level_3, p -> coalesce(p.parts, array()))) AS level_4 FROM deeper
),
leaves AS (
  SELECT
    *,
    get(filter(headers, h -> h.name = 'from'), 0).value AS from_header,
    get(filter(headers, h -> h.name = 'message-id'), 0).value AS id_header,
    get(filter(headers, h -> h.name = 'in-reply-to'), 0).value AS reply_header,
    get(filter(headers, h -> h.name = 'references'), 0).value AS references_header,
    get(filter(headers, h -> h.name = 'date'), 0).value AS date_header,
    get(filter(headers, h -> h.name = 'subject'), 0).value AS subject_header,
    get(filter(headers, h -> h.name = 'list-id'), 0).value AS list_header,
    lower(get(filter(headers, h -> h.name = 'precedence'), 0).value) AS precedence,
    lower(get(filter(headers, h -> h.name = 'auto-submitted'), 0).value) AS submitted,
    regexp_extract_all(array_join(transform(filter(headers, h -> h.name = 'to'), h -> h.value), ','), '((?:"[^"]*"|[^"@])*@[^,]*)', 1) AS to_list,
    regexp_extract_all(array_join(transform(filter(headers, h -> h.name = 'cc'), h -> h.value), ','), '((?:"[^"]*"|[^"@])*@[^,]*)', 1) AS cc_list,
    regexp_extract_all(array_join(transform(filter(headers, h -> h.name = 'bcc'), h -> h.value), ','), '((?:"[^"]*"|[^"@])*@[^,]*)', 1) AS bcc_list,
    regexp_extract_all(array_join(transform(filter(headers, h -> h.name = 'reply-to'), h -> h.value), ','), '((?:"[^"]*"|[^"@])*@[^,]*)', 1) AS reply_to_list,
    concat(
      array(struct(payload.mimeType AS type, payload.filename AS filename, payload.body.data AS data, payload.body.attachmentId AS attachment, payload.body.size AS size)),
      transform(level_1, p -> struct(p.mimeType AS type, p.filename AS filename, p.body.data AS data, p.body.attachmentId AS attachment, p.body.size AS size)),
      transform(level_2, p -> struct(p.mimeType AS type, p.filename AS filename, p.body.data AS data, p.body.attachmentId AS attachment, p.body.size AS size)),
      transform(level_3, p -> struct(p.mimeType AS type, p.filename AS filename, p.body.data AS data, p.body.attachmentId AS attachment, p.body.size AS size)),
      transform(level_4, p -> struct(p.mimeType AS type, p.filename AS filename, p.body.data AS data, p.body.attachmentId AS attachment, p.body.size AS size))
    ) AS parts
  FROM deepest
)
SELECT
  mailbox,
  id AS message_id,
  threadId AS thread_id,
  nullif(regexp_extract(id_header, '<([^<>]+)>', 1), '') AS rfc822_message_id,
  nullif(regexp_extract(reply_header, '<([^<>]+)>', 1), '') AS in_reply_to,
  coalesce(regexp_extract_all(references_header, '<([^<>]+)>', 1), array()) AS reference_ids,
  timestamp_millis(try_cast(internalDate AS BIGINT)) AS received_at,
  try_to_timestamp(
    nullif(regexp_extract(date_header, '([0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4})', 1), ''),
    'd MMM yyyy H:mm:ss Z'
  ) AS sent_at,
  nullif(lower(regexp_extract(from_header, '([^<> ,;:()"]+@[^<> ,;:()"]+)[^@]*$', 1)), '') AS from_email,
  nullif(trim(BOTH '" ' FROM regexp_extract(from_header, '^([^<]*)<', 1)), '') AS from_name,
  nullif(lower(regexp_extract(from_header, '@([^<> ,;:()"@]+)[^@]*$', 1)), '') AS from_domain,
  nullif(trim(subject_header), '') AS subject,
  transform(
    to_list,
    a -> struct(
      nullif(trim(BOTH '", ' FROM regexp_extract(a, '^([^<]*)<', 1)), '') AS name,
      nullif(lower(regexp_extract(a, '([^<> ,;:()"]+@[^<> ,;:()"]+)[^@]*$', 1)), '') AS email
    )
  ) AS to_recipients,
  transform(
    cc_list,
    a -> struct(
      nullif(trim(BOTH '", ' FROM regexp_extract(a, '^([^<]*)<', 1)), '') AS name,
      nullif(lower(regexp_extract(a, '([^<> ,;:()"]+@[^<> ,;:()"]+)[^@]*$', 1)), '') AS email
    )
  ) AS cc_recipients,
  transform(
    bcc_list,
    a -> struct(
      nullif(trim(BOTH '", ' FROM regexp_extract(a, '^([^<]*)<', 1)), '') AS name,
      nullif(lower(regexp_extract(a, '([^<> ,;:()"]+@[^<> ,;:()"]+)[^@]*$', 1)), '') AS email
    )
  ) AS bcc_recipients,
  transform(
    reply_to_list,
    a -> struct(
      nullif(trim(BOTH '", ' FROM regexp_extract(a, '^([^<]*)<', 1)), '') AS name,
      nullif(lower(regexp_extract(a, '([^<> ,;:()"]+@[^<> ,;:()"]+)[^@]*$', 1)), '') AS email
    )
  ) AS reply_to,
  held AS label_ids,
  transform(held, l -> coalesce(label_map[l], l)) AS label_names,
  array_contains(held, 'UNREAD') AS is_unread,
  array_contains(held, 'STARRED') AS is_starred,
  array_contains(held, 'IMPORTANT') AS is_important,
  array_contains(held, 'SENT') AS is_sent,
  array_contains(held, 'DRAFT') AS is_draft,
  array_contains(held, 'INBOX') AS is_inbox,
  array_contains(held, 'SPAM') AS is_spam,
  array_contains(held, 'TRASH') AS is_trash,
  lower(substring(get(filter(held, l -> startswith(l, 'CATEGORY_')), 0), 10)) AS category,
  nullif(regexp_replace(regexp_replace(decode(unbase64(translate(
    get(filter(parts, p -> p.type = 'text/plain' AND coalesce(p.filename, '') = '' AND p.data IS NOT NULL), 0).data, '-_', '+/'
  )), 'UTF-8'), '\r\n?', '\n'), '[ \t\n]+$', ''), '') AS body_text,
  nullif(regexp_replace(regexp_replace(decode(unbase64(translate(
    get(filter(parts, p -> p.type = 'text/html' AND coalesce(p.filename, '') = '' AND p.data IS NOT NULL), 0).data, '-_', '+/'
  )), 'UTF-8'), '\r\n?', '\n'), '[ \t\n]+$', ''), '') AS body_html,
  nullif(replace(replace(replace(replace(replace(snippet, '&#39;', ''''), '&quot;', '"'), '&lt;', '<'), '&gt;', '>'), '&amp;', '&'), '') AS snippet,
  nullif(coalesce(nullif(regexp_extract(list_header, '<([^<>]+)>', 1), ''), trim(list_header)), '') AS list_id,
  list_header IS NOT NULL OR exists(headers, h -> h.name = 'list-unsubscribe') OR coalesce(precedence IN ('bulk', 'junk', 'list'), FALSE) AS is_bulk,
  coalesce(submitted <> 'no', FALSE) OR coalesce(precedence = 'auto_reply', FALSE) OR exists(headers, h -> h.name = 'x-autoreply') AS is_auto_submitted,
  sizeEstimate AS size_bytes,
  CAST(size(filter(parts, p -> coalesce(p.filename, '') <> '' OR p.attachment IS NOT NULL OR p.type LIKE 'message/%'
    OR (p.type NOT LIKE 'text/%' AND p.type NOT LIKE 'multipart/%' AND p.size > 0))) AS BIGINT) AS attachment_count,
  historySequence AS history_id
FROM leaves;

CREATE OR REPLACE VIEW message_labels AS
SELECT m.mailbox, m.message_id, m.label_id, coalesce(l.name, m.label_id) AS label_name, l.type AS label_type
FROM (SELECT mailbox, id AS message_id, explode(labelIds) AS label_id FROM messages) m
LEFT JOIN labels l ON l.mailbox = m.mailbox AND l.id = m.label_id;

CREATE OR REPLACE VIEW attachments AS
WITH read AS (
  SELECT
    mailbox,
    id AS message_id,
    payload,
    coalesce(payload.parts, array()) AS level_1,
    flatten(transform(coalesce(payload.parts, array()), p -> coalesce(p.parts, array()))) AS level_2
  FROM messages
),
deeper AS (
  SELECT *, flatten(transform(level_2, p -> coalesce(p.parts, array()))) AS level_3 FROM read
),
deepest AS (
  SELECT *, flatten(transform(level_3, p -> coalesce(p.parts, array()))) AS level_4 FROM deeper
),
parts AS (
  SELECT mailbox, message_id, explode(concat(
    array(struct(payload.partId AS id, payload.mimeType AS type, payload.filename AS name, payload.headers AS headers, payload.body AS body, size(coalesce(payload.parts, array())) > 0 AS container)),
    transform(level_1, p -> struct(p.partId AS id, p.mimeType AS type, p.filename AS name, p.headers AS headers, p.body AS body, size(coalesce(p.parts, array())) > 0 AS container)),
    transform(level_2, p -> struct(p.partId AS id, p.mimeType AS type, p.filename AS name, p.headers AS headers, p.body AS body, size(coalesce(p.parts, array())) > 0 AS container)),
    transform(level_3, p -> struct(p.partId AS id, p.mimeType AS type, p.filename AS name, p.headers AS headers, p.body AS body, size(coalesce(p.parts, array())) > 0 AS container)),
    transform(level_4, p -> struct(p.partId AS id, p.mimeType AS type, p.filename AS name, p.headers AS headers, p.body AS body, size(coalesce(p.parts, array())) > 0 AS container))
  )) AS part
  FROM deepest
),
leaves AS (
  SELECT
    mailbox,
    message_id,
    part.id AS part_id,
    nullif(trim(part.name), '') AS filename,
    lower(part.type) AS mime_type,
    part.container,
    part.body,
    nullif(trim(BOTH '<> ' FROM get(filter(part.headers, h -> lower(h.name) = 'content-id'), 0).value), '') AS content_id,
    coalesce(lower(trim(split(get(filter(part.headers, h -> lower(h.name) = 'content-disposition'), 0).value, ';')[0])), '') AS disposition
  FROM parts
)
SELECT
  mailbox,
  message_id,
  part_id,
  filename,
  nullif(lower(regexp_extract(filename, '.[.]([A-Za-z0-9]{1,12})$', 1)), '') AS extension,
  mime_type,
  body.size AS size_bytes,
  content_id,
  disposition = 'inline' OR (disposition = '' AND content_id IS NOT NULL) AS is_inline,
  sha2(unbase64(translate(body.data, '-_', '+/')), 256) AS sha256
FROM leaves
WHERE mime_type NOT LIKE 'multipart/%' AND (
  filename IS NOT NULL OR body.attachmentId IS NOT NULL OR mime_type LIKE 'message/%'
  OR (NOT container AND mime_type NOT LIKE 'text/%' AND body.size > 0)
  OR (NOT container AND mime_type LIKE 'text/%' AND disposition = 'attachment')
);
