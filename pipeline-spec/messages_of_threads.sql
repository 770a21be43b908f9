-- `messages` as a view over the table `threads`, whose rows contain their messages: a pipeline that needs both tables then fetches
-- each message once. Run it in the catalog and schema of `threads`, in a pipeline whose spec does not list `messages`.
-- With `mailboxes`, select `mailbox` too.

CREATE OR REPLACE VIEW messages AS
SELECT message.*, CAST(message.historyId AS BIGINT) AS historySequence
FROM threads LATERAL VIEW explode(messages) AS message;
