-- Counts one try under each key, or none where a quota is used up: the arithmetic of
-- `keyward_core::limits`, in milliseconds of this server's clock, so that no node's clock matters.
-- ARGV holds interval and window of each key. Answers {0, 0}, or which key and for how long.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local whole_at = {}
for i, key in ipairs(KEYS) do
  local interval, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  -- Whatever else stands there counts as nothing, and is written over.
  local kept = tonumber(redis.pcall('GET', key)) or now
  -- What lies beyond two windows was kept before the clock stepped back.
  if not (kept > now and kept <= now + 2 * window) then
    kept = now
  end
  whole_at[i] = kept + interval
  local ahead = whole_at[i] - now
  if ahead > window then
    return { i, ahead - window }
  end
end

for i, key in ipairs(KEYS) do
  local text = string.format('%.0f', whole_at[i])
  redis.call('SET', key, text, 'PX', string.format('%.0f', whole_at[i] - now))
end
return { 0, 0 }
