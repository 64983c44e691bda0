-- Each partition's watermark and the end of its last island.
-- Returns partition, last_ms, last_n, island_ms, island_n; the latter two null without an island.
SELECT partition, watermarks.last_ms, watermarks.last_n, island_ms, island_n
FROM watermarks
LEFT JOIN LATERAL (
    SELECT island.last_ms AS island_ms, island.last_n AS island_n
    FROM watermark_islands AS island
    WHERE island.partition = watermarks.partition
    ORDER BY island.last_ms DESC, island.last_n DESC
    LIMIT 1
) AS furthest ON true
ORDER BY partition
