-- Sixteen requests in one write; the next sixteen follow when all are answered.
init = function()
  local requests = {}
  for i = 1, 16 do
    requests[i] = wrk.format()
  end
  pipeline = table.concat(requests)
end
request = function()
  return pipeline
end
