-- Every request has browser-like fields, one of which is different each time.
local n = 0
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-US,en;q=0.5"
request = function()
  n = n + 1
  wrk.headers["X-Request-Id"] = n
  return wrk.format()
end
