-- Put before scripts that use the filter of departed items; see pkg.auction.departed.

-- The bits of an item, by its key.
local function bits_of(item)
  local digits = redis.sha1hex(item)
  local bits = {}
  for number = 1, 5 do
    bits[number] = tonumber(string.sub(digits, number * 6 - 5, number * 6), 16) % 8388608
  end
  return bits
end

-- Whether the item may have left Redis.
local function may_have_departed(item, filter)
  for _, bit in ipairs(bits_of(item)) do
    if redis.call('GETBIT', filter, bit) == 0 then
      return false
    end
  end
  return true
end

