-- Gives back one try under each key that is still there. ARGV holds interval and window of each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for i, key in ipairs(KEYS) do
  local interval, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local kept = tonumber(redis.pcall('GET', key))
  if kept then
    local whole_at = kept - interval
    local life = math.max(1, math.min(2 * window, whole_at - now))
    local text = string.format('%.0f', whole_at)
    redis.call('SET', key, text, 'PX', string.format('%.0f', life))
  end
end
return { 0, 0 }
