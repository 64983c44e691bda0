-- Every watermark, with the number of islands above it.
-- Gives partition, last_ms, last_n, islands.
SELECT partition, watermarks.last_ms, watermarks.last_n, count(island.prev_ms) AS islands
FROM watermarks
LEFT JOIN watermark_islands AS island USING (partition)
GROUP BY partition
ORDER BY partition
