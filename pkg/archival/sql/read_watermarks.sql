-- Every watermark and its number of islands.
-- Returns partition, last_ms, last_n, epoch, islands.
SELECT
    partition,
    watermarks.last_ms,
    watermarks.last_n,
    watermarks.epoch,
    count(island.prev_ms) AS islands
FROM watermarks
LEFT JOIN watermark_islands AS island USING (partition)
GROUP BY partition
ORDER BY partition
